//! Window arithmetic and watermarks: pure, no runtime.
