-- AliExpress' own affiliate orders as order events: what
-- `aliexpress.affiliate.order.list` answers.
--
-- It is for Parquet files with the fields of that call, one row per sub order, as often
-- as you ask for it. Copy this file beside your job file and name it there:
--
--     [input.orders]
--     path = "raw/aliexpress_orders"
--     view = "views/aliexpress_orders.sql"
--
-- - Who bought: the call does not say. It gives back what a link was followed with, such
--   as https://s.click.aliexpress.com/e/_abc?dp=8f3a. So put your visitor's id into `dp`
--   of each link, and the same id into `buyer_id` of your clicks. An order without it is
--   rejected (missing_buyer). `custom_parameters` is the list's name for it;
--   `aliexpress.affiliate.order.get` has `customer_parameters`.
-- - Where: the call names no shop. All orders are those of one store, aliexpress:
--   stores.csv has to have it.
-- - Money: amounts are in cents of `settled_currency`.
-- - Times: texts in Pacific time. The hour that autumn repeats is taken for the earlier
--   one.
-- - placed, paid: `created_time` and `paid_time`. Orders that nobody has paid are not in
--   the list.
-- - refunded: what `finished_amount` lacks of `paid_amount`, when the buyer confirmed
--   receipt.
-- - completed: `completed_settlement_time`, when AliExpress itself owes. Until then an
--   order can still become invalid.
-- - cancelled: `order_status` is Invalid. No field says since when: it is the end of the
--   landing date.
--
-- A row repeats the steps of earlier days, as well. They are left out by the filter at
-- the end. Its 2 days are `late_days` of the job file: change both together.
with rows as (
    select *, completed_settlement_time as settlement_time from raw
),
orders as (
    select
        rows.*,
        regexp_match(custom_parameters, '"dp"\s*:\s*"([^"]*)"')[1] as visitor,
        try_cast(paid_amount as decimal(16, 2)) / 100 as paid,
        try_cast(finished_amount as decimal(16, 2)) / 100 as finished,
        coalesce(
            try_cast(created_time || ' America/Los_Angeles' as timestamp with time zone),
            try_cast(created_time || '-07:00' as timestamp with time zone)
        ) as created_at,
        coalesce(
            try_cast(paid_time || ' America/Los_Angeles' as timestamp with time zone),
            try_cast(paid_time || '-07:00' as timestamp with time zone)
        ) as paid_at,
        coalesce(
            try_cast(finished_time || ' America/Los_Angeles' as timestamp with time zone),
            try_cast(finished_time || '-07:00' as timestamp with time zone)
        ) as finished_at,
        coalesce(
            try_cast(settlement_time || ' America/Los_Angeles' as timestamp with time zone),
            try_cast(settlement_time || '-07:00' as timestamp with time zone)
        ) as settled_at,
        cast(dt + interval '1 day' as timestamp with time zone)
            - interval '1 microsecond' as day_end
    from rows
),
events as (
    select orders.*, 'placed' as event_type, created_at as event_at, paid as amount
    from orders
    union all
    select orders.*, 'paid' as event_type, paid_at as event_at, null as amount
    from orders
    where paid_at is not null
    union all
    select
        orders.*,
        'refunded' as event_type,
        finished_at as event_at,
        paid - finished as amount
    from orders
    where finished < paid and finished_at is not null and order_status <> 'Invalid'
    union all
    select orders.*, 'completed' as event_type, settled_at as event_at, null as amount
    from orders
    where settled_at is not null
    union all
    select orders.*, 'cancelled' as event_type, day_end as event_at, null as amount
    from orders
    where order_status = 'Invalid'
)
select
    order_id || '/' || sub_order_id || '/' || event_type as event_id,
    event_type,
    event_at,
    order_id,
    sub_order_id as line_id,
    visitor as buyer_id,
    'aliexpress' as store_id,
    amount,
    settled_currency as currency,
    product_id,
    category_id,
    product_count as quantity,
    ship_to_country as country,
    effect_detail_status as reason
from events
where event_at is null or event_at >= dt - interval '2 days'
