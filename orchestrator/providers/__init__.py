"""The provider table: everything in which one API differs from another, as data."""
