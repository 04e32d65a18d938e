-- Exchange rates, as of the latest run.
--
-- grain:  one row per currency and date
-- kind:   stored
-- version: 1
-- reads:  input.fx_rates
-- columns:
--   currency   text           the currency
--   rate_date  date           the first local date of the rate
--   rate       decimal(18,8)  program currency for one unit
select
    currency,
    rate_date,
    rate
from input.fx_rates
order by currency, rate_date
