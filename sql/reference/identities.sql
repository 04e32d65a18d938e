-- Whose visitors are, as of the latest run.
--
-- grain:  one row per visitor and validity
-- kind:   stored
-- version: 1
-- order:  as read
-- reads:  input.identities
-- columns:
--   visitor_id  id       the cookie or device
--   buyer_id    id       the buyer it belongs to
--   valid_from  instant  when it begins, null: always was
--   valid_to    instant  when it ends (excluded), null: open
--
-- Rows stay in the order of the file: there may be very many, and nobody reads them in another.
select
    visitor_id,
    buyer_id,
    valid_from,
    valid_to
from input.identities
