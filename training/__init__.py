"""Training: from raw examples to a merged model that is proven better. Not in this release."""
