"""The companion package of the book. Import from its modules: `from llmguide.attention import attention`."""

from importlib.metadata import version

__version__ = version("llmguide")
