//! Vectors of RFC 7692 section 7.2.3, and what they do not reach.
