/** The seed of made-up inputs: the same in every run, unless FC_SEED names another. */
export const seed = Number(process.env["FC_SEED"] ?? 1);
