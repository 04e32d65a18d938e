-- Rates that one line's product, category and store ever had.
--
-- reads:  reference.rates
-- params: $product, $category, $store
select scope, scope_id, store_id, rate, valid_from, valid_to
from reference.rates
where (scope = 'product' and scope_id = $product)
    or (scope = 'category' and scope_id = $category)
    or (scope = 'store' and scope_id = $store)
order by
    case scope when 'product' then 1 when 'category' then 2 else 3 end,
    store_id is null,
    store_id,
    valid_from nulls first
