// The value of the header that nginx with njs sets (suite/contenders.py).
function value(r) {
    return r.method === 'TRACE' ? '' : 'Odin';
}

export default { value };
