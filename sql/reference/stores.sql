-- Stores of the program, as of the latest run.
--
-- grain:  one row per membership
-- kind:   stored
-- version: 1
-- reads:  input.stores
-- columns:
--   store_id   text     the store
--   joined_at  instant  when it joined, null: always was a member
--   left_at    instant  when it left (excluded), null: open
select
    store_id,
    joined_at,
    left_at
from input.stores
order by store_id, joined_at
