/** What stands for a record in another journal, on either thread. */

/** The number of a record that is in the journal of another process of the data folder. */
export const elsewhere = Number.MAX_SAFE_INTEGER
