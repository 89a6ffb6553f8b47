# SPDX-License-Identifier: Apache-2.0
"""The tables of the history's file."""

SCHEMA_VERSION = 1
"""The file's user_version."""
HOST_SUMS = (
    *("measured_j", "static_j", "idle_j", "host_j", "error_j"),
    *("saved_j", "saved_error_j", "possible_j"),
)
"""Columns of intervals that are added up."""
DOMAIN_SUMS = (
    *("requests", "refused", "late", "dropped"),
    *("energy_j", "error_j", "saved_j", "saved_error_j", "possible_j"),
)
"""Columns of domains' intervals that are added up."""
SCHEMA = f"""
CREATE TABLE interval (
    id INTEGER PRIMARY KEY,
    start_s REAL NOT NULL,
    duration_s REAL NOT NULL,
    source TEXT,
    is_calibrated INTEGER NOT NULL,
    holes INTEGER NOT NULL,
    {" REAL NOT NULL, ".join(HOST_SUMS)} REAL NOT NULL
);
CREATE INDEX interval_start ON interval (start_s);
CREATE TABLE domain (id INTEGER PRIMARY KEY, uuid TEXT UNIQUE NOT NULL, name TEXT);
CREATE TABLE domain_interval (
    interval INTEGER NOT NULL REFERENCES interval ON DELETE CASCADE,
    domain INTEGER NOT NULL REFERENCES domain,
    has_energy INTEGER NOT NULL,
    {" REAL NOT NULL, ".join(DOMAIN_SUMS)} REAL NOT NULL,
    PRIMARY KEY (interval, domain)
) WITHOUT ROWID;
CREATE TABLE residency (
    interval INTEGER NOT NULL REFERENCES interval ON DELETE CASCADE,
    domain INTEGER NOT NULL REFERENCES domain,
    activity TEXT NOT NULL,
    khz INTEGER NOT NULL,
    requested_khz INTEGER NOT NULL,
    highest_khz INTEGER NOT NULL,
    core_s REAL NOT NULL,
    PRIMARY KEY (interval, domain, activity, khz, requested_khz, highest_khz)
) WITHOUT ROWID;
CREATE TABLE refusal (
    interval INTEGER NOT NULL REFERENCES interval ON DELETE CASCADE,
    domain INTEGER NOT NULL REFERENCES domain,
    cause TEXT NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (interval, domain, cause)
) WITHOUT ROWID;
CREATE TABLE hold (
    interval INTEGER NOT NULL REFERENCES interval ON DELETE CASCADE,
    domain INTEGER NOT NULL REFERENCES domain,
    cause TEXT NOT NULL,
    core_s REAL NOT NULL,
    joules REAL NOT NULL,
    PRIMARY KEY (interval, domain, cause)
) WITHOUT ROWID;
CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    at_s REAL NOT NULL,
    kind TEXT NOT NULL,
    domain TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX event_at ON event (at_s);
"""
DETAILS = (
    ("residency", ("activity", "khz", "requested_khz", "highest_khz"), ("core_s",)),
    ("refusal", ("cause",), ("requests",)),
    ("hold", ("cause",), ("core_s", "joules")),
)
"""Tables with several rows for a domain and an interval: keys and sums."""
