-- The first order of each bucket of orders to book. Buckets have about equally many lines.
--
-- grain:  one row per bucket
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.lines_to_book
-- params: $buckets
with lines as (
    select order_id
    from attribution.lines_to_book
),

numbered as (
    select
        order_id,
        ntile($buckets) over (order by order_id) as bucket
    from lines
)

select distinct min(order_id) as first_order
from numbered
group by bucket
order by first_order
