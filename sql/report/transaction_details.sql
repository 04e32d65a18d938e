-- The ledger: every movement of an attributed order line.
--
-- grain:  one row per event of an attributed line
-- key:    report_date, event_id
-- kept:   as report/transaction_details
-- reads:  attribution.movements
-- params: $from, $to
-- columns:
--   report_date          date           local date of the event
--   event_id             text           the order event
--   movement             text           placed, paid, completed, cancelled or refunded
--   event_at             instant        when it happened
--   is_effective         boolean        whether it changed anything
--   order_id             text           the order
--   line_id              text           the line within the order
--   buyer_id             text           who ordered
--   store_id             text           where
--   product_id           text           what
--   category_id          text           the product's category
--   country              text           the order's country
--   publisher_id         text           who is credited
--   tracking_id          text           the publisher's own label
--   click_id             text           the click that won
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
select
    report_date,
    event_id,
    movement,
    event_at,
    is_effective,
    order_id,
    line_id,
    buyer_id,
    store_id,
    product_id,
    category_id,
    country,
    publisher_id,
    tracking_id,
    click_id,
    clicked_at,
    placed_at,
    seconds_to_order,
    commission_rate,
    rate_source,
    sale_amount,
    pending_commission,
    approved_commission,
    original_amount,
    original_currency,
    reason
from attribution.movements
where status = 'attributed'
    and event_at >= $from
    and event_at < $to
order by report_date, event_id
