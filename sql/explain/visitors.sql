-- Visitors who are, or may be, a buyer of one order.
--
-- kind:   temporary
-- reads:  clean.clicks, clean.order_events, explain.order_lines, reference.identities
-- params: $from, $to, $from_logs
with buyers as (
    select distinct buyer_id
    from explain.order_lines
),

known as (
    select visitor_id, buyer_id
    from reference.identities
    union all
    select visitor_id, buyer_id
    from clean.clicks
    where $from_logs and clicked_at >= $from and clicked_at < $to
    union all
    select visitor_id, buyer_id
    from clean.order_events
    where $from_logs and event_type = 'placed' and event_at >= $from and event_at < $to
)

select distinct known.buyer_id, known.visitor_id
from buyers
inner join known
    on buyers.buyer_id = known.buyer_id
where known.visitor_id is not null
order by buyer_id, visitor_id
