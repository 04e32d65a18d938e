-- Fx rates that placed events of some landing dates use, although they are too old for them (Q3).
--
-- reads:  clean.order_events, reference.fx_rates
-- params: $zone, $currency, $oldest
--
-- A placed event uses the latest rate on or before its local date (C6). The program currency needs
-- none.
with placed as (
    select
        dt,
        original_currency as currency,
        local_date(event_at, $zone) as placed_on,
        count(*) as placed_events
    from clean.order_events
    where event_type = 'placed' and original_currency <> $currency
    group by dt, original_currency, local_date(event_at, $zone)
),

rates as (
    select currency, rate_date
    from reference.fx_rates
),

used as (
    select
        placed.dt,
        placed.currency,
        placed.placed_on,
        placed.placed_events,
        max(rates.rate_date) as rate_date
    from placed
    inner join rates
        on placed.currency = rates.currency
        and rates.rate_date <= placed.placed_on
    group by placed.dt, placed.currency, placed.placed_on, placed.placed_events
)

select dt, currency, placed_on, rate_date, placed_events
from used
where rate_date < cast(placed_on - cast($oldest as interval) as date)
order by dt, currency, rate_date, placed_on
