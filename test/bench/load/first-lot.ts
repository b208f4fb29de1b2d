/** How many idle connections are opened before the memory is looked at for the first time. */

/** What is made once, with the first connections, is no cost of a connection. */
export const firstLot = (connections: number) => Math.ceil(connections / 20)
