//! From asynchronous fetching to parallel computing and back: a bounded bridge.
