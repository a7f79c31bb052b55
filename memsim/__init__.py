"""memsim: what will Linux's page allocator do to this machine's memory?"""

__version__ = "0.1.0"
