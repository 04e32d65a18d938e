-- When the stores of one order were members of the program.
--
-- reads:  explain.order_lines, reference.stores
select store_id, joined_at, left_at
from reference.stores
where store_id in (select store_id from explain.order_lines)
order by store_id, joined_at nulls first
