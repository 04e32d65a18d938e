-- What happened to order lines, one row per event, with the money of placed and refunded events.
--
-- grain:  one row per event of the landing date
-- key:    dt, event_id
-- kind:   stored
-- version: 2
-- time:   event_at
-- reads:  clean.checked_order_events, clean.repeated_order_events
-- params: $dt
-- columns:
--   dt                 date           UTC date on which the row arrived
--   event_id           id             the log's own id
--   event_type         text           placed, paid, completed, cancelled or refunded
--   event_at           instant        when the event happened
--   order_id           id             the order
--   line_id            text           the line within the order
--   buyer_id           id             the buyer, as logged; placed events always have one
--   store_id           text           the store, as logged; placed events always have one
--   product_id         text           the product, as logged
--   category_id        text           the product's category, as logged
--   quantity           count          number of pieces, as logged
--   country            text           the order's country, as logged
--   original_amount    decimal(18,4)  placed and refunded events: amount in their currency
--   original_currency  text           placed and refunded events: the currency, as logged
--   fx_rate            decimal(18,8)  placed events: program currency for one unit
--   amount             money          placed events: amount in program currency
--   reason             text           why it was cancelled or refunded, as logged
--   visitor_id         id             the visitor who ordered, as logged
with valid as (
    select
        dt, event_id, event_type, event_at, order_id, line_id, buyer_id, store_id, product_id,
        category_id, quantity, country, exact_amount, currency, fx_rate, program_amount, reason,
        visitor_id
    from clean.checked_order_events
    where is_accepted and dt = $dt
    union all
    select
        dt, event_id, event_type, event_at, order_id, line_id, buyer_id, store_id, product_id,
        category_id, quantity, country, exact_amount, currency, fx_rate, program_amount, reason,
        visitor_id
    from clean.repeated_order_events
    where reject_reason is null and dt = $dt
)

select
    dt,
    event_id,
    event_type,
    event_at,
    order_id,
    line_id,
    buyer_id,
    store_id,
    product_id,
    category_id,
    quantity,
    country,
    case when event_type in ('placed', 'refunded') then exact_amount end as original_amount,
    case when event_type in ('placed', 'refunded') then currency end as original_currency,
    case when event_type = 'placed' then fx_rate end as fx_rate,
    case when event_type = 'placed' then cast(program_amount as decimal(18, 2)) end as amount,
    reason,
    visitor_id
from valid
order by dt, order_id, line_id, event_at, event_id
