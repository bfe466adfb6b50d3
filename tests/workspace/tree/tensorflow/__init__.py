"""What a person imports: the API as its files say."""

from tensorflow._api.v1 import *  # noqa: F403
