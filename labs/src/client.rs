//! An HTTP client for production: limits, deadlines, retries, a budget and a breaker.
