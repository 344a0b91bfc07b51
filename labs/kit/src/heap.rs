//! Live heap of the threads that ask to be counted.
