-- Rejected events of some landing dates that stand for money: placed and refunded ones.
--
-- reads:  clean.rejects
--
-- A row that comes again is booked already, and one whose type is unknown is neither placed nor
-- refunded. An amount counts without its sign, because some logs write refunds as negative
-- numbers. What is no number, or has more than 18 digits before the point, counts nothing.
with events as (
    select dt, reason, record, json_text(record, 'event_type') as event_type
    from clean.rejects
    where log = 'orders' and reason not in ('duplicate', 'unknown_event_type')
),

amounts as (
    select
        dt,
        reason,
        event_type,
        coalesce(nullif(json_text(record, 'currency'), ''), '(none)') as currency,
        abs(try_cast(json_text(record, 'amount') as decimal(22, 4))) as amount
    from events
    where event_type in ('placed', 'refunded')
)

select
    dt,
    event_type,
    reason,
    currency,
    count(*) as events,
    cast(coalesce(sum(amount), 0) as decimal(38, 4)) as amount
from amounts
group by dt, event_type, reason, currency
order by dt, event_type, reason, currency
