"""The console at `/console`: what the store and the gateway know, as pages for people.

Rendered on the server, one file a page. To add one:

1. `gateway/console/<page>.py` with `router(parts: Parts) -> APIRouter`; its routes call
   `parts.pages.show(request, viewer, "<page>.html", …)`,
2. `templates/<page>.html`, which extends `base.html` and uses `macros.html`,
3. a line in `NAV` (`pages.py`) and one in `_PAGES` (`app.py`).

Routes are plain functions, so that blocking calls run in threads. Whoever may look is `Looking`,
whoever may change things `Changing` (`access.py`): that one also checks the form's token. A POST
ends with `parts.pages.told(…)`: a redirect with a sentence that the next page shows.
"""
