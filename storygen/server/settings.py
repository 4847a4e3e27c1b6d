"""What a server allows, and where it listens."""

from dataclasses import dataclass

from storygen.config import Config, option


@dataclass(frozen=True)
class ServerConfig(Config):
    """Settings of a server."""

    host: str = option("127.0.0.1", "Address to listen on; 0.0.0.0 is all of the machine's.")
    port: int = option(7860, "Port to listen on; 0 takes a free one.", low=0, high=65_535)
    page: bool = option(True, "Serve the page and its API beside /v1.")
    keys: str | None = option(None, "File of API keys, made by python -m storygen.server.keys; empty lets anyone in.")
    requests_per_minute: int = option(
        120, "So many requests to /v1 a minute from one key, or from one address without keys; 0 allows any number.",
        low=0, high=1_000_000,
    )  # fmt: skip
    rows_per_client: int = option(
        16, "So many stories of one key or address may be in progress at once; a beam counts as one.", low=1, high=1000
    )
    body_bytes: int = option(262_144, "A larger request is refused.", low=1024, high=100_000_000)
    body_seconds: float = option(10.0, "A request must have arrived whole after so long.", low=0.1, high=3600.0)
    request_seconds: float = option(
        120.0, "A story that is not finished after so long, waiting included, is given up.", low=0.1, high=86_400.0
    )
    grace_seconds: float = option(
        20.0, "When the server is told to stop, stories may be finished for so long.", low=0.0, high=3600.0
    )
    cors_origins: tuple[str, ...] = option(
        (), "Web pages of this origin (https://example.org) may call the API.", high=20
    )
    log_prompts: bool = option(False, "Write what was asked and answered into the log.")

    def check(self) -> None:
        if "*" in self.cors_origins and self.keys is None:
            self.refuse("cors_origins", "without keys name the origins: any web page could use this server")
