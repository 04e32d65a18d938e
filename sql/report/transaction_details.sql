-- The ledger: every movement of an attributed order line.
--
-- grain:  one row per event of an attributed line
-- key:    report_date, event_id
-- kept:   as report/transaction_details
-- reads:  attribution.movements, attribution.moving_lines
-- params: $from, $to
-- columns:
--   report_date          date           local date of the event
--   event_id             id             the order event
--   movement             text           placed, paid, completed, cancelled or refunded
--   event_at             instant        when it happened
--   is_effective         boolean        whether it changed anything
--   order_id             id             the order
--   line_id              text           the line within the order
--   buyer_id             id             who ordered
--   store_id             text           where
--   product_id           text           what
--   category_id          text           the product's category
--   country              text           the order's country
--   publisher_id         text           who is credited
--   tracking_id          text           the publisher's own label
--   click_id             id             the click that won
--   clicked_at           instant        when that visit happened
--   placed_at            instant        when the line was placed
--   seconds_to_order     count          from the click to the order, rounded down
--   commission_rate      rate           0.085 is 8.5 %
--   rate_source          text           product, category, store or default
--   sale_amount          money          change of the line's net amount
--   pending_commission   money          change of the forecast
--   approved_commission  money          change of what is owed
--   original_amount      decimal(18,4)  the event's own, in the line's currency
--   original_currency    text           the line's currency, where there is such an amount
--   reason               text           the event's own
with movements as (
    select *
    from attribution.movements
    where status = 'attributed'
        and event_at >= $from
        and event_at < $to
),

lines as (
    select *
    from attribution.moving_lines
    where status = 'attributed'
)

select
    movements.report_date,
    movements.event_id,
    movements.movement,
    movements.event_at,
    movements.is_effective,
    lines.order_id,
    lines.line_id,
    lines.buyer_id,
    lines.store_id,
    lines.product_id,
    lines.category_id,
    lines.country,
    lines.publisher_id,
    lines.tracking_id,
    lines.click_id,
    lines.clicked_at,
    lines.placed_at,
    lines.seconds_to_order,
    lines.commission_rate,
    lines.rate_source,
    movements.sale_amount,
    movements.pending_commission,
    movements.approved_commission,
    movements.original_amount,
    movements.original_currency,
    movements.reason
from movements
inner join lines
    on movements.line = lines.line
order by report_date, event_id
