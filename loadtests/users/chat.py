"""Customers of one application."""

from locust import task

from loadtests.users.asking import AskingUser


class ChatUser(AskingUser):
    """Asks, waits a moment, asks again; three of four answers are streamed."""

    @task(3)  # type: ignore[untyped-decorator]
    def streamed(self) -> None:
        self.stream("chat stream")

    @task(1)  # type: ignore[untyped-decorator]
    def in_one_piece(self) -> None:
        self.whole("chat whole")
