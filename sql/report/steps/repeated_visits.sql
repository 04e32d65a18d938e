-- Hashes shared by several visits, such as visits of one visitor that are counted together.
--
-- grain:  one row per hash
-- kind:   temporary
-- reads:  report.visits
--
-- The report itself compares the columns, so an extra hash changes no result.
select unnest(duplicated_values(visit_hash)) as visit_hash
from report.visits
