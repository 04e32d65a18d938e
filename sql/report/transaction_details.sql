-- The ledger: every movement of an attributed order line.
--
-- grain:  one row per event of an attributed line
-- key:    report_date, event_id
-- kind:   stored
-- version: 2
-- reads:  attribution.movements, attribution.ledger_lines
-- params: $from, $to
-- columns:
--   report_date          date           local date of the event
--   event_id             id             the order event
--   movement             text           placed, paid, completed, cancelled or refunded
--   event_at             instant        when the event happened
--   is_effective         boolean        whether the event changed anything
--   order_id             id             the order
--   line_id              text           the line within the order
--   buyer_id             id             the buyer who ordered
--   store_id             text           the store that sold the line
--   product_id           text           the product
--   category_id          text           the product's category
--   country              text           the order's country
--   publisher_id         text           the credited publisher
--   tracking_id          text           the publisher's own label for the link
--   click_id             id             the click that won
--   clicked_at           instant        when the winning click happened
--   placed_at            instant        when the line was placed
--   seconds_to_order     count          seconds from the click to the order, rounded down
--   commission_rate      rate           0.085 is 8.5 %
--   rate_source          text           source of the rate: product, category, store or default
--   sale_amount          money          change of the line's net amount
--   pending_commission   money          change of the pending commission
--   approved_commission  money          change of the approved commission; its sum is what is owed
--   original_amount      decimal(18,4)  placed and refunded events: the event's own amount
--   original_currency    text           its currency: the one it names, else the line's
--   reason               text           why it was cancelled or refunded, as logged
with movements as (
    select *
    from attribution.movements
    where status = 'attributed'
        and event_at >= $from
        and event_at < $to
),

lines as (
    select *
    from attribution.ledger_lines
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
    on movements.line_key = lines.line_key
order by report_date, event_id
