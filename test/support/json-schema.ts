/** The part of JSON Schema 2020-12 that schemas/ uses, checked strictly: a keyword that is not known here is an error. */

type Schema = { readonly [keyword: string]: unknown };

/** What is wrong with a value, as "path: sentence"; empty where it is valid. */
export function schemaErrors(value: unknown, schema: Schema, root: Schema = schema, path = "$"): string[] {
  const errors: string[] = [];
  for (const [keyword, rule] of Object.entries(schema)) {
    const check = keywords[keyword];
    if (check === undefined) errors.push(`${path}: the schema uses ${keyword}, which this check does not know`);
    else errors.push(...check(value, rule, { root, path, schema }));
  }
  return errors;
}

interface Where {
  readonly root: Schema;
  readonly path: string;
  readonly schema: Schema;
}

type Check = (value: unknown, rule: unknown, where: Where) => string[];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const types: Record<string, (value: unknown) => boolean> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  array: Array.isArray,
  object: isObject,
};

const nothing: Check = () => [];
const when = (bad: boolean, sentence: string): string[] => (bad ? [sentence] : []);

const keywords: Record<string, Check> = {
  $schema: nothing,
  $id: nothing,
  $defs: nothing,
  $comment: nothing,
  title: nothing,
  description: nothing,
  examples: nothing,
  default: nothing,
  format: (value, rule, { path }) =>
    when(
      rule === "date-time" && typeof value === "string" && Number.isNaN(Date.parse(value)),
      `${path}: not a ${rule}`,
    ),
  type: (value, rule, { path }) => {
    const names = [rule].flat() as string[];
    return when(
      !names.some((name) => types[name]?.(value)),
      `${path}: ${JSON.stringify(value)} is not ${names.join(" or ")}`,
    );
  },
  const: (value, rule, { path }) =>
    when(value !== rule, `${path}: ${JSON.stringify(value)} is not ${JSON.stringify(rule)}`),
  enum: (value, rule, { path }) =>
    when(!(rule as unknown[]).includes(value), `${path}: ${JSON.stringify(value)} is none of ${JSON.stringify(rule)}`),
  pattern: (value, rule, { path }) =>
    when(
      typeof value === "string" && !new RegExp(String(rule), "u").test(value),
      `${path}: ${JSON.stringify(value)} does not match ${rule}`,
    ),
  minimum: (value, rule, { path }) =>
    when(typeof value === "number" && value < Number(rule), `${path}: less than ${rule}`),
  maximum: (value, rule, { path }) =>
    when(typeof value === "number" && value > Number(rule), `${path}: more than ${rule}`),
  minItems: (value, rule, { path }) => when(Array.isArray(value) && value.length < Number(rule), `${path}: too few`),
  maxItems: (value, rule, { path }) => when(Array.isArray(value) && value.length > Number(rule), `${path}: too many`),
  required: (value, rule, { path }) =>
    isObject(value) ? (rule as string[]).filter((name) => !(name in value)).map((name) => `${path}: no ${name}`) : [],
  properties: (value, rule, { root, path }) =>
    Object.entries(rule as Record<string, Schema>).flatMap(([name, schema]) =>
      isObject(value) && name in value ? schemaErrors(value[name], schema, root, `${path}.${name}`) : [],
    ),
  patternProperties: (value, rule, { root, path }) =>
    Object.entries(rule as Record<string, Schema>).flatMap(([pattern, schema]) =>
      Object.entries(isObject(value) ? value : {}).flatMap(([name, member]) =>
        new RegExp(pattern, "u").test(name) ? schemaErrors(member, schema, root, `${path}.${name}`) : [],
      ),
    ),
  additionalProperties: (value, rule, { root, path, schema }) => {
    if (!isObject(value) || rule === true) return [];
    const patterns = Object.keys((schema["patternProperties"] as Schema | undefined) ?? {}).map(
      (one) => new RegExp(one, "u"),
    );
    const known = (schema["properties"] as Schema | undefined) ?? {};
    const others = Object.keys(value).filter((name) => !(name in known) && !patterns.some((one) => one.test(name)));
    if (rule === false) return others.map((name) => `${path}: ${name} is not in the schema`);
    return others.flatMap((name) => schemaErrors(value[name], rule as Schema, root, `${path}.${name}`));
  },
  items: (value, rule, { root, path }) =>
    Array.isArray(value) ? value.flatMap((item, i) => schemaErrors(item, rule as Schema, root, `${path}[${i}]`)) : [],
  prefixItems: (value, rule, { root, path }) =>
    Array.isArray(value)
      ? (rule as Schema[]).flatMap((one, i) =>
          i < value.length ? schemaErrors(value[i], one, root, `${path}[${i}]`) : [],
        )
      : [],
  $ref: (value, rule, { root, path }) => {
    let schema: unknown = root;
    for (const part of String(rule).replace(/^#\/?/, "").split("/").filter(Boolean)) schema = (schema as Schema)[part];
    return isObject(schema) ? schemaErrors(value, schema, root, path) : [`${path}: no ${rule} in the schema`];
  },
  allOf: (value, rule, { root, path }) => (rule as Schema[]).flatMap((one) => schemaErrors(value, one, root, path)),
  anyOf: (value, rule, where) => among(value, rule as Schema[], where, (valid) => valid >= 1),
  oneOf: (value, rule, where) => among(value, rule as Schema[], where, (valid) => valid === 1),
};

function among(
  value: unknown,
  schemas: readonly Schema[],
  { root, path }: Where,
  enough: (valid: number) => boolean,
): string[] {
  const results = schemas.map((schema) => schemaErrors(value, schema, root, path));
  if (enough(results.filter((errors) => errors.length === 0).length)) return [];
  return [
    `${path}: matches ${results.filter((errors) => errors.length === 0).length} of ${schemas.length} alternatives: ${results.flat().slice(0, 4).join("; ")}`,
  ];
}
