-- Order lines of changed stores whose membership is another one now (A3, D7).
--
-- grain:  one row per order date and store
-- kind:   temporary
-- reads:  changed.stores, reference.stores, attribution.conversions
with lines as (
    select order_date, store_id, placed_at, status <> 'store_not_joined' as was_joined
    from attribution.conversions
    where store_id in (select store_id from changed.stores)
),

judged as (
    select
        lines.*,
        stores.store_id is not null as is_joined
    from lines
    left join reference.stores as stores
        on lines.store_id = stores.store_id
        and (stores.joined_at is null or stores.joined_at <= lines.placed_at)
        and (stores.left_at is null or lines.placed_at < stores.left_at)
)

select distinct order_date, store_id
from judged
where was_joined <> is_joined
