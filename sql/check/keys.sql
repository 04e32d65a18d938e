-- How many keys of each reference table occur in the logs, and of the logs' keys in the table.
--
-- grain:  one row per table and kind of key
-- reads:  raw.clicks, raw.orders, reference.links, reference.stores, reference.rates,
--         reference.fx_rates, reference.identities
-- params: $currency
--
-- Keys that are alike differ in case, blanks or zeros in front only: a spreadsheet eats zeros. The
-- buyers of orders are held against those of clicks in the same way.
with table_keys as (
    select distinct 'links' as name, link_key as id from reference.links
    union all
    select distinct 'stores' as name, store_id as id from reference.stores
    union all
    select distinct concat('rates, ', scope) as name, scope_id as id from reference.rates
    union all
    select distinct 'fx_rates' as name, currency as id from reference.fx_rates
    union all
    select distinct 'identities' as name, visitor_id as id from reference.identities
    union all
    select distinct 'buyers' as name, buyer_id as id
    from raw.clicks
    where buyer_id is not null
),

log_rows as (
    select 'links' as name, link_key as id from raw.clicks
    union all
    select 'stores' as name, store_id as id from raw.orders where event_type = 'placed'
    union all
    select 'rates, product' as name, product_id as id from raw.orders where event_type = 'placed'
    union all
    select 'rates, category' as name, category_id as id from raw.orders where event_type = 'placed'
    union all
    select 'rates, store' as name, store_id as id from raw.orders where event_type = 'placed'
    union all
    select 'fx_rates' as name, currency as id
    from raw.orders
    where event_type = 'placed' and currency <> $currency
    union all
    select 'identities' as name, visitor_id as id from raw.clicks where buyer_id is null
    union all
    select 'buyers' as name, buyer_id as id from raw.orders where event_type = 'placed'
),

log_keys as (
    select name, id, count(*) as id_rows
    from log_rows
    where id is not null and id <> ''
    group by name, id
),

found as (
    select
        log_keys.name,
        log_keys.id,
        log_keys.id_rows,
        table_keys.id is not null as is_known
    from log_keys
    left join table_keys on log_keys.name = table_keys.name and log_keys.id = table_keys.id
),

alike as (
    select found.name, found.id, max(table_keys.id) as table_id
    from found
    inner join table_keys
        on found.name = table_keys.name
        and ltrim(lower(btrim(found.id)), '0') = ltrim(lower(btrim(table_keys.id)), '0')
    where not found.is_known
    group by found.name, found.id
),

in_tables as (
    select
        name,
        count(*) as ids,
        count(case when starts_with(id, 'example-') then id end) as examples
    from table_keys
    group by name
),

in_logs as (
    select
        name,
        count(*) as ids,
        sum(id_rows) as id_rows,
        count(case when is_known then id end) as known_ids,
        sum(case when is_known then id_rows else 0 end) as known_rows,
        min(case when not is_known then id end) as unknown_id
    from found
    group by name
),

likeness as (
    select name, count(*) as ids, min(id) as log_id, min(table_id) as table_id
    from alike
    group by name
)

select
    coalesce(in_tables.name, in_logs.name) as name,
    coalesce(in_tables.ids, 0) as table_keys,
    coalesce(in_tables.examples, 0) as examples,
    coalesce(in_logs.ids, 0) as log_keys,
    coalesce(in_logs.known_ids, 0) as known_keys,
    coalesce(in_logs.id_rows, 0) as log_rows,
    coalesce(in_logs.known_rows, 0) as known_rows,
    in_logs.unknown_id,
    coalesce(likeness.ids, 0) as alike_keys,
    likeness.log_id,
    likeness.table_id
from in_tables
full join in_logs on in_tables.name = in_logs.name
left join likeness on coalesce(in_tables.name, in_logs.name) = likeness.name
order by name
