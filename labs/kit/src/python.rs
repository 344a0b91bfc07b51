//! The same experiment in Python, where `python3` is there.
