-- Commission rates, as of the latest run.
--
-- grain:  one row per rate and validity
-- kind:   stored
-- version: 1
-- reads:  input.rates
-- columns:
--   scope       text     product, category or store
--   scope_id    text     the product, category or store
--   store_id    text     the one store it is for, null: any
--   rate        rate     0.085 is 8.5 %
--   valid_from  instant  when it begins, null: always was
--   valid_to    instant  when it ends (excluded), null: open
select
    scope,
    scope_id,
    store_id,
    rate,
    valid_from,
    valid_to
from input.rates
order by scope, scope_id, store_id, valid_from
