"""`driftgate gateway`: only the gateway, for machines where engines run elsewhere."""

import sys

import typer

from gateway.server import serve
from gateway.settings import Settings
from gateway.store.database import Database, StoreError
from gateway.store.keys import Keys
from gateway.store.ledger import open_ledger

app = typer.Typer()


@app.command("gateway", epilog="Example: DRIFTGATE_WORKERS=2 driftgate gateway")
def gateway() -> None:
    """Run the gateway's workers on the address that the settings name."""
    settings = Settings()
    try:
        database = Database(settings.resolved_database_url())
        database.migrate()
        refuse_open_binding(settings, Keys(database))
        # Each worker opens its own; what is wrong with the setting is told once, here.
        open_ledger(settings.ledger_url, database).close()
        database.close()
        status = serve(settings)
    except StoreError as error:
        _end(f"The store cannot be opened: {error}")
    except OSError as error:
        _end(f"Cannot serve on {settings.host}:{settings.port}: {error.strerror or error}")
    else:
        raise typer.Exit(status)


def refuse_open_binding(settings: Settings, keys: Keys) -> None:
    """End the program where others could reach a gateway that asks for no key."""
    if settings.is_loopback() or any(key.revoked_at is None for key in keys.all()):
        return
    _end(
        f"Without an API key the gateway binds only loopback, not {settings.host}. "
        "Make one with `driftgate keys create --name NAME`."
    )


def _end(message: str) -> None:
    print(message, file=sys.stderr)
    raise typer.Exit(2)
