//! What is written is read again, and damage costs no more than what is damaged.
