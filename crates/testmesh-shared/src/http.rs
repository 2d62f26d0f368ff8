//! An HTTP/1.1 and HTTP/2 client over the connector: pooled, TLS loaded when first needed, every phase timed.
// SKELETON: owner H.
