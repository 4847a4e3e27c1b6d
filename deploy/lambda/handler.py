"""The API as an AWS Lambda function: `handler(event, context)`, for events of API Gateway (HTTP API) and function URLs.

The models are loaded when Lambda loads this file, once for each instance. Answers come whole, streams too: the gateway
passes nothing on before the end. A file of API keys, if there is one, is named by STORYGEN_KEYS.
"""

import os
from pathlib import Path

from mangum import Mangum

from storygen.catalogue import load_writers
from storygen.server.app import create_app
from storygen.server.log import start_log
from storygen.server.settings import ServerConfig

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
CONFIG = ServerConfig(
    page=False,
    keys=os.environ.get("STORYGEN_KEYS") or None,
    request_seconds=25.0,  # the gateway gives up after 30
)

start_log(CONFIG.log_prompts)
handler = Mangum(create_app(load_writers(CHECKPOINTS)[0], CONFIG), lifespan="off")
