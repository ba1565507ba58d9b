"""The rollout of a candidate: start, staging, shadow, canary, approval, promotion; or back."""
