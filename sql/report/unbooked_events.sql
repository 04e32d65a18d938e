-- Events that moved nothing, because they belong to no order line that counts.
--
-- grain:  one row per event without a movement
-- key:    report_date, event_id
-- kind:   stored
-- version: 1
-- reads:  attribution.unbooked_events
-- params: $from, $to
-- columns:
--   report_date        date           local date of the event
--   event_id           id             the order event
--   event_type         text           placed, paid, completed, cancelled or refunded
--   event_at           instant        when the event happened
--   order_id           id             the order
--   line_id            text           the line within the order
--   original_amount    decimal(18,4)  placed and refunded events: the event's own amount
--   original_currency  text           placed and refunded events: the currency, as logged
--   why                text           repetition (placed again, A5) or orphan (not placed, M7)
--
-- An id may occur again on a landing date so far away that its row is no duplicate (C3). Its two
-- rows never fall on one report date: all rows of a date land within the dates that decide
-- duplicates.
select
    report_date,
    event_id,
    event_type,
    event_at,
    order_id,
    line_id,
    original_amount,
    original_currency,
    why
from attribution.unbooked_events
where event_at >= $from and event_at < $to
order by report_date, event_id
