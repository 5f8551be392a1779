-- Whether any channel changed is asked every second (`channels::versions`).
CREATE INDEX channels_versions ON channels (direction, version);
