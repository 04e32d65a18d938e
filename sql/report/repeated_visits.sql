-- Numbers that several visits have: those of one visitor that the traffic report counts alike.
--
-- grain:  one row per number
-- kept:   for the run
-- reads:  report.visits
--
-- Whether they are alike the report itself decides: a number too many costs a moment.
select unnest(repeated(number)) as number
from report.visits
