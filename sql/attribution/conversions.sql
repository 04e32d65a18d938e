-- Every order line placed, with the click that earned it or the reason why none did.
--
-- grain:  one row per order line placed on the date
-- key:    order_date, order_id, line_id
-- kind:   stored
-- version: 2
-- time:   placed_at
-- rule:   commission_rate
-- reads:  attribution.credits, reference.rates
-- params: $order_date, $default_rate
-- columns:
--   order_date        date     local date on which the line was placed
--   order_id          id       the order
--   line_id           text     the line within the order
--   placed_at         instant  when the line was placed
--   event_id          id       the placed event that counts
--   buyer_id          id       the buyer who ordered
--   store_id          text     the store that sold the line
--   product_id        text     the product
--   category_id       text     the product's category
--   country           text     the order's country
--   amount            money    commission base in program currency, before refunds
--   status            text     attributed, no_click or store_not_joined
--   click_id          id       the click that won, null when none did
--   clicked_at        instant  when the winning click happened
--   publisher_id      text     the publisher of the winning click
--   tracking_id       text     the publisher's own label for the link
--   link_key          text     the promotion link of the winning click
--   clicks_in_window  count    clicks in the window that could win (A1)
--   first_click_at    instant  when the earliest of these clicks happened
--   seconds_to_order  count    seconds from the click to the order, rounded down
--   commission_rate   rate     0.085 is 8.5 %
--   rate_source       text     source of the rate: product, category, store or default
--   matched_by        text     how the click is the buyer's: buyer, identities or logs
with credits as (
    select *
    from attribution.credits
    where order_date = $order_date
),

rates as (
    select scope, scope_id, store_id, rate, valid_from, valid_to
    from reference.rates
),

-- A rate names the line's product, its category or its store.
scoped as (
    select line_key, store_id, placed_at, 'product' as scope, product_id as scope_id
    from credits
    where status = 'attributed'
    union all
    select line_key, store_id, placed_at, 'category' as scope, category_id as scope_id
    from credits
    where status = 'attributed'
    union all
    select line_key, store_id, placed_at, 'store' as scope, store_id as scope_id
    from credits
    where status = 'attributed'
),

-- One row per line and rate that may apply. The narrower scope goes first, and within it a
-- rate for the line's own store before one for any store (A4).
applicable as (
    select
        scoped.line_key,
        rates.rate,
        rates.scope,
        case rates.scope when 'product' then 1 when 'category' then 2 else 3 end * 2
            - case when rates.store_id is null then 0 else 1 end as precedence
    from rates
    inner join scoped
        on rates.scope = scoped.scope
        and rates.scope_id = scoped.scope_id
    where (rates.store_id is null or rates.store_id = scoped.store_id)
        and (rates.valid_from is null or rates.valid_from <= scoped.placed_at)
        and (rates.valid_to is null or scoped.placed_at < rates.valid_to)
),

chosen as (
    select
        line_key,
        first_value(rate order by precedence) as rate,
        first_value(scope order by precedence) as scope
    from applicable
    group by line_key
)

select
    credits.order_date,
    credits.order_id,
    credits.line_id,
    credits.placed_at,
    credits.event_id,
    credits.buyer_id,
    credits.store_id,
    credits.product_id,
    credits.category_id,
    credits.country,
    credits.amount,
    credits.status,
    credits.click_id,
    credits.clicked_at,
    credits.publisher_id,
    credits.tracking_id,
    credits.link_key,
    credits.clicks_in_window,
    credits.first_click_at,
    (cast(credits.placed_at as bigint) - cast(credits.clicked_at as bigint)) / 1000000
        as seconds_to_order,
    case when credits.status = 'attributed' then coalesce(chosen.rate, $default_rate) end
        as commission_rate,
    case when credits.status = 'attributed' then coalesce(chosen.scope, 'default') end
        as rate_source,
    credits.matched_by
from credits
left join chosen
    on credits.line_key = chosen.line_key
order by order_date, order_id, line_id
