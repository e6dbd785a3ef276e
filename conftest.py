"""Every run of pytest checks notebooks strictly (see tests/book/strict.py)."""

pytest_plugins = ["tests.book.strict"]
