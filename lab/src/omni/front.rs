//! The HTTPS front of Omni.
