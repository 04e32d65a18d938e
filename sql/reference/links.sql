-- Promotion links, as of the latest run: whose they are, and when.
--
-- grain:  one row per link and validity
-- kind:   stored
-- version: 1
-- reads:  input.links
-- columns:
--   link_key      id       the key that a URL names
--   publisher_id  text     the publisher whose link it is
--   tracking_id   text     the publisher's own label for the link
--   valid_from    instant  when it begins, null: always was
--   valid_to      instant  when it ends (excluded), null: open
select
    link_key,
    publisher_id,
    tracking_id,
    valid_from,
    valid_to
from input.links
order by link_key, valid_from
