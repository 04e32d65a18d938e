//! `duplicated_values`: the numbers that occur more than once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf};
use itertools::{Itertools, kmerge};

/// `duplicated_values(number)`: a list of the numbers that occur more than once, each once, in no
/// particular order. Nulls do not count. `group by … having count(*) > 1` has the same result, but
/// keeps all numbers in a hash table. Where nearly all occur once, sorting is much faster.
pub fn duplicated_values() -> AggregateUDF {
    let numbers = DataType::List(item());
    create_udaf(
        "duplicated_values",
        vec![DataType::Int64],
        Arc::new(numbers.clone()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(Numbers::default()))),
        Arc::new(vec![numbers]),
    )
}

/// Arrays are kept as they arrive. Numbers are copied only to be sorted.
#[derive(Debug, Default)]
struct Numbers {
    unsorted: Vec<Int64Array>,
    /// Each array is sorted.
    sorted: Vec<Int64Array>,
}

impl Numbers {
    fn sort(&mut self) {
        let count = self.unsorted.iter().map(Int64Array::len).sum();
        let mut numbers = Vec::with_capacity(count);
        for some in self.unsorted.drain(..) {
            match some.null_count() {
                0 => numbers.extend_from_slice(some.values()),
                _ => numbers.extend(some.iter().flatten()),
            }
        }
        numbers.sort_unstable();
        self.sorted.push(numbers.into());
    }

    fn in_order(&self) -> impl Iterator<Item = i64> {
        kmerge(self.sorted.iter().map(|numbers| numbers.values().iter().copied()))
    }
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.unsorted.push(columns[0].as_primitive().clone());
        Ok(())
    }

    /// All numbers, sorted: each partition sorts its own.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.sort();
        let numbers = match self.sorted.len() {
            1 => self.sorted.remove(0),
            _ => self.in_order().collect::<Vec<_>>().into(),
        };
        Ok(vec![list(numbers)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states[0].as_list::<i32>().iter().flatten();
        self.sorted.extend(states.map(|numbers| numbers.as_primitive().clone()));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.sort();
        let counted = self.in_order().dedup_with_count();
        let again = counted.filter(|(count, _)| *count > 1).map(|(_, number)| number);
        Ok(list(again.collect::<Vec<_>>().into()))
    }

    fn size(&self) -> usize {
        let numbers =
            self.unsorted.iter().chain(&self.sorted).map(|some| some.len()).sum::<usize>();
        size_of_val(self) + numbers * size_of::<i64>()
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

fn list(numbers: Int64Array) -> ScalarValue {
    let offsets = OffsetBuffer::from_lengths([numbers.len()]);
    ScalarValue::List(Arc::new(ListArray::new(item(), offsets, Arc::new(numbers), None)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
    #![allow(clippy::disallowed_methods, reason = "a test makes a session of its own")]

    use arrow::array::RecordBatch;
    use arrow::datatypes::Int64Type;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn again(partitions: &[&[Option<i64>]]) -> Vec<i64> {
        let config = SessionConfig::new().with_target_partitions(partitions.len());
        let session = SessionContext::new_with_config(config);
        session.register_udaf(duplicated_values());
        let batches = partitions.iter().map(|numbers| {
            let numbers = Int64Array::from(numbers.to_vec());
            vec![RecordBatch::try_from_iter([("number", Arc::new(numbers) as _)]).unwrap()]
        });
        let batches: Vec<Vec<RecordBatch>> = batches.collect();
        let table = MemTable::try_new(batches[0][0].schema(), batches.clone()).unwrap();
        session.register_table("numbers", Arc::new(table)).unwrap();
        let sql = "select unnest(duplicated_values(number)) as number from numbers order by number";
        let found = session.sql(sql).await.unwrap().collect().await.unwrap();
        let numbers = found.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>());
        numbers.flat_map(|numbers| numbers.values().to_vec()).collect()
    }

    #[tokio::test]
    async fn each_number_that_comes_again_is_named_once() {
        let few: &[Option<i64>] = &[Some(7), Some(-1), None, Some(7), Some(7)];
        assert_eq!(again(&[few]).await, [7]);
        let more: &[Option<i64>] = &[None, Some(3), Some(-1), Some(5)];
        assert_eq!(again(&[few, more]).await, [-1, 7]);
        assert_eq!(again(&[more, &[], few, more]).await, [-1, 3, 5, 7]);
    }

    #[tokio::test]
    async fn where_none_comes_again_there_is_no_row() {
        assert!(again(&[&[Some(1), Some(2), None, None]]).await.is_empty());
        assert!(again(&[&[]]).await.is_empty());
    }
}
