"""What the pages of the console are handed."""

from dataclasses import dataclass
from pathlib import Path

from gateway.auth import KeyRing
from gateway.certified import Certified
from gateway.console.pages import Pages
from gateway.console.session import Sealer
from gateway.flow import Deadlines
from gateway.front import Hot
from gateway.store.database import Database
from gateway.store.files import Files


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages of the console are handed.

    Attributes:
        database: The store.
        keys: Who may log in.
        sealer: Signs cookies.
        pages: Renders.
        certified: What certificates say.
        files: What jobs left.
        home: Folder of jobs, files and reports on this host.
        hot: Answers chat, for the playground.
        deadlines: The clock of these answers.
    """

    database: Database
    keys: KeyRing
    sealer: Sealer
    pages: Pages
    certified: Certified
    files: Files
    home: Path
    hot: Hot
    deadlines: Deadlines
