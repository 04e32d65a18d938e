-- Orders by the click that earned them, as the traffic report counts them.
--
-- grain:  one row per order date, order, link, page and kind of visitor
-- kind:   temporary
-- split:  order_date
-- reads:  attribution.credits
with lines as (
    select
        order_date,
        publisher_id,
        coalesce(tracking_id, '(none)') as tracking_id,
        coalesce(click_store_id, '(none)') as store_id,
        coalesce(click_country, '(none)') as country,
        coalesce(click_device, '(none)') as device,
        order_id,
        amount
    from attribution.credits
    where status = 'attributed'
)

select
    order_date, publisher_id, tracking_id, store_id, country, device, order_id,
    count(*) as order_lines,
    cast(sum(amount) as decimal(38, 2)) as order_amount
from lines
group by order_date, publisher_id, tracking_id, store_id, country, device, order_id
